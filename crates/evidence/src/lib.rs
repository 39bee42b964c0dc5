//! Answer trees and their guard, openings, escrow, evidence packages.

//! Simulator, scenarios, vectors, forgers, fault and interop suites.

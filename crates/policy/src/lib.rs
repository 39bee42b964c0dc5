//! May this be asked, answered, shown: Cedar, field masks, obligations, explain.

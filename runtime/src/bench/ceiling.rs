//! What the machine allows at most: the same work with nothing around it, measured in the same run.

pub(super) mod broadcast;
pub(super) mod copy;
pub(super) mod drain;

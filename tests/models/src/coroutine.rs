//! In the place of what tasks hold and the models have no use for.

pub(crate) struct Worker;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId;

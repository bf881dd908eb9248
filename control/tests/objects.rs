//! From manifests to compiled parts: scenarios, hostile input, stability, and a directory that is followed.

#[path = "objects/world.rs"]
mod world;

#[path = "objects/render.rs"]
mod render;

#[path = "common/wanted.rs"]
mod wanted;

#[path = "objects/clusters.rs"]
mod clusters;
#[path = "objects/hostile.rs"]
mod hostile;
#[path = "objects/manifests.rs"]
mod manifests;
#[path = "objects/scenarios.rs"]
mod scenarios;
#[path = "objects/stability.rs"]
mod stability;

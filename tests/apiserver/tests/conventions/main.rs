//! What any API server does, whoever made it: the stand-in, or the one that `SLUICE_TEST_KUBECONFIG` names (`make test-kube`). A difference
//! between the two is a test that fails in one of them.

#[path = "../http/client.rs"]
mod client;
mod doors;
mod kept;
mod objects;
mod pages;
mod reads;
mod refusals;
mod selects;
mod sites;
mod watches;
mod writes;

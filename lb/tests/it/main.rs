//! Behaviour of the load balancer through its public interface.

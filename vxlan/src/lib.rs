//! Decides how a frame enters and leaves a VXLAN tunnel (RFC 7348). It never sends, receives or knows Kubernetes.

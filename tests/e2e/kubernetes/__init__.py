"""The parts that speak to Kubernetes, against a real API server and its etcd, on this machine."""

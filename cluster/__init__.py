"""How the platform is deployed: on one machine with embedded servers, on Ray clusters, on Kubernetes."""

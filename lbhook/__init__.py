"""Boot-time hook for Azure VMs behind a load balancer."""

__version__ = "0.1.0"

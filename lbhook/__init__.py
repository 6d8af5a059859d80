"""Boot-time hook for Azure VMs behind a load balancer.

The way of the data, and the package of each step:

    imds        ask the metadata service, and decide which answer is in force
    metadata    its bytes become types: Metadata, then Facts
    rendering   Facts and a template become text
    storage     what is on the disk, and what lbhook remembers of it
    planning    the difference is a value: a Plan, checked by the real programs
    deployment  a Plan carried out: stage, check, install, reload, verify; or put back
    runs        all of it as one run, and what it leaves: status.json, metrics, hooks

docs/architecture.md has the whole house, and says where to change what.
"""

__version__ = "0.1.0"

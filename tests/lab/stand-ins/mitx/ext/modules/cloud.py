"""Stands in for Salt's execution module `cloud`, whose driver for EC2 is not part of Salt any more."""
import sys

sys.path.insert(0, "/srv/ext")


def destroy(names):
    """As salt-cloud: names, parted by commas, no wildcards; those that are not there are not in what it returns."""
    import machines

    ended = {}
    for name in names if isinstance(names, list) else names.split(","):
        if machines.destroy(name):
            ended[name] = {"currentState": {"name": "shutting-down"}, "previousState": {"name": "running"}}
    return {"edx": {"ec2": ended}} if ended else {}

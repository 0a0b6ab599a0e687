"""Stands in for Salt's sdb driver for Consul: a file on the master."""
import json
import os

PATH = "/srv/consul.json"


def _read():
    if not os.path.exists(PATH):
        return {}
    with open(PATH) as file:
        return json.load(file)


def get(key, profile=None):
    return _read().get(key)


def set_(key, value, profile=None):
    values = _read()
    values[key] = value
    with open(PATH + ".new", "w") as file:
        json.dump(values, file, indent=1, sort_keys=True)
    os.replace(PATH + ".new", PATH)
    return value


def delete(key, profile=None):
    values = _read()
    values.pop(key, None)
    with open(PATH, "w") as file:
        json.dump(values, file)
    return True


__func_alias__ = {"set_": "set"}

"""What MITx's own states ask of AWS, for the states of orchestrate/edx that stand here in their place."""
import sys

import yaml

sys.path.insert(0, "/srv/ext")

KINDS = {"edx": "edxapp", "edx-worker": "edx_worker"}


def settings(environment):
    with open("/srv/salt/environment_settings.yml") as file:
        return yaml.safe_load(file)["environments"][environment]


def base_instances(environment, purpose):
    import machines

    found, made = settings(environment), []
    tags = {"environment": environment, "purpose": purpose, "codename": found["codename"]}
    for kind in KINDS:
        name = base_name(kind, found["codename"], environment)
        made.append(machines.launch(name, kind, found["ubuntu"], dict(tags, role=kind + "-base"), "-"))
    return made


def base_name(kind, codename, environment):
    return "%s-%s-%s-base" % ("edxapp" if kind == "edx" else kind, environment, codename)


def snapshots(environment, commits):
    """Images of the base instances; commits: of edX on each, as its minion says."""
    import machines

    codename, ec2 = settings(environment)["codename"], machines.client("ec2")
    number = int(__salt__["sdb.get"]("sdb://consul/edxapp-%s-release-version" % codename)) + 1
    for kind, prefix in KINDS.items():
        name = base_name(kind, codename, environment)
        made = ec2.create_image(InstanceId=machines.named(name)["InstanceId"],
                                Name="%s_%s_base_release_%d" % (prefix, codename, number))
        ec2.create_tags(Resources=[made["ImageId"]], Tags=[{"Key": "commit", "Value": commits[name]}])
    __salt__["sdb.set"]("sdb://consul/edxapp-%s-release-version" % codename, str(number))
    return number


def update_sdb(environment):
    import machines

    codename = settings(environment)["codename"]
    number = __salt__["sdb.get"]("sdb://consul/edxapp-%s-release-version" % codename)
    for kind, prefix in KINDS.items():
        name = "%s_%s_base_release_%s" % (prefix, codename, number)
        found = machines.client("ec2").describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [name]}])
        if not found["Images"]:
            raise RuntimeError("there is no image %s" % name)
        __salt__["sdb.set"]("sdb://consul/%s-%s-ami-id" % (prefix, codename), found["Images"][0]["ImageId"])
    return number


def provision(environment, purposes):
    import machines

    found, names = settings(environment), []
    number = __salt__["sdb.get"]("sdb://consul/edxapp-%s-release-version" % found["codename"])
    for purpose in purposes.split(","):
        for kind, count in found["purposes"][purpose].items():
            image = __salt__["sdb.get"]("sdb://consul/%s-%s-ami-id" % (KINDS[kind], found["codename"]))
            tags = machines.client("ec2").describe_images(ImageIds=[image])["Images"][0]["Tags"]
            commit = [one["Value"] for one in tags if one["Key"] == "commit"][0]
            for place in range(count):
                name = "%s-%s-%s-%d-v%s" % (kind, environment, purpose, place, number)
                machines.launch(name, kind, image, {"environment": environment, "purpose": purpose, "role": kind,
                                                    "release-version": number}, commit)
                names.append(name)
    return names

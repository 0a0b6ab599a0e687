"""What moto lacks of Redshift, put into its own classes: a stand-in, written after AWS's documentation.

moto 5.2.5 answers ModifyClusterIamRoles, ModifyClusterParameterGroup, ResetClusterParameterGroup, ResizeCluster,
RebootCluster and ModifyClusterSubnetGroup with HTTP 500, and in it a cluster is changed the moment it is asked for. Here
they have their effects, and these take time: each DescribeClusters that looks at a cluster is a tick of its clock.

Over TICKS ticks a cluster is creating, modifying, resizing or rebooting, its earlier nodes and its roles' "adding" and
"removing" are shown; of a changed parameter, a static one waits for a reboot, a dynamic one is applied.
"""
from moto.core.responses import ActionResult
from moto.redshift import models, responses

TICKS = 2
DYNAMIC = {"statement_timeout", "query_group"}

Cluster, Backend, Response = models.Cluster, models.RedshiftBackend, responses.RedshiftResponse


def begin(cluster, status, later=None):
    cluster.moves, cluster.later, cluster.status = [status] * TICKS, later or {}, status


def tick(cluster):
    moves = getattr(cluster, "moves", [])
    if moves:
        cluster.status = moves.pop()
    elif cluster.status != "available":
        for name, value in cluster.later.items():
            setattr(cluster, name, value)
        cluster.status, cluster.later = "available", {}
        if getattr(cluster, "applies", "in-sync") == "applying":
            cluster.applies = "in-sync"
    for arn, state in list(getattr(cluster, "roles", {}).items()):
        state["ticks"] -= 1
        if state["ticks"] < 0:
            if state["status"] == "removing":
                cluster.iam_roles_arn.remove(arn)
            del cluster.roles[arn]


def role_states(cluster):
    changing = getattr(cluster, "roles", {})
    return [{"IamRoleArn": arn, "ApplyStatus": changing[arn]["status"] if arn in changing else "in-sync"}
            for arn in cluster.iam_roles_arn]


Cluster.iam_roles = property(role_states)
Cluster.pending_modified_values = property(
    lambda cluster: {"NumberOfNodes": cluster.later["number_of_nodes"]} if getattr(cluster, "later", None) else {})
Cluster.cluster_parameter_group_status_list = property(
    lambda cluster: [{"ParameterGroupName": name, "ParameterApplyStatus": getattr(cluster, "applies", "in-sync")}
                     for name in cluster.cluster_parameter_group_name])

create, modify = Backend.create_cluster, Backend.modify_cluster
describe, describe_parameters = Response.describe_clusters, Backend.describe_cluster_parameters


def create_cluster(self, **given):
    cluster = create(self, **given)
    begin(cluster, "creating")
    return cluster


def modify_cluster(self, **given):
    """moto keeps the group as a text, where it has a list from the beginning."""
    cluster = modify(self, **given)
    if isinstance(cluster.cluster_parameter_group_name, str):
        cluster.cluster_parameter_group_name = [cluster.cluster_parameter_group_name]
    begin(cluster, "modifying")
    return cluster


def describe_clusters(self):
    for cluster in self.redshift_backend.describe_clusters(self._get_param("ClusterIdentifier"), None):
        tick(cluster)
    return describe(self)


def named(self):
    return self.redshift_backend.describe_clusters(self._get_param("ClusterIdentifier"))[0]


def modify_cluster_iam_roles(self):
    cluster = named(self)
    cluster.roles = getattr(cluster, "roles", {})
    for arn in self._get_param("AddIamRoles", []):
        if arn not in cluster.iam_roles_arn:
            cluster.iam_roles_arn.append(arn)
            cluster.roles[arn] = {"status": "adding", "ticks": TICKS}
    for arn in self._get_param("RemoveIamRoles", []):
        if arn in cluster.iam_roles_arn:
            cluster.roles[arn] = {"status": "removing", "ticks": TICKS}
    return ActionResult({"Cluster": cluster})


def resize_cluster(self):
    cluster, nodes = named(self), self._get_int_param("NumberOfNodes")
    begin(cluster, "resizing", {"number_of_nodes": nodes or cluster.number_of_nodes,
                                "node_type": self._get_param("NodeType") or cluster.node_type})
    return ActionResult({"Cluster": cluster})


def reboot_cluster(self):
    cluster = named(self)
    begin(cluster, "rebooting")
    cluster.applies = "in-sync"
    cluster.reboots = getattr(cluster, "reboots", 0) + 1
    return ActionResult({"Cluster": cluster})


def group_of(self):
    name = self._get_param("ParameterGroupName")
    group = self.redshift_backend.describe_cluster_parameter_groups(name)[0]
    group.user = getattr(group, "user", {})
    return group


def apply(self, group, names):
    for cluster in self.redshift_backend.clusters.values():
        if names and group.name in cluster.cluster_parameter_group_name:
            if names <= DYNAMIC:
                cluster.applies = "applying"
                begin(cluster, "modifying")
            else:
                cluster.applies = "pending-reboot"
    return ActionResult({"ParameterGroupName": group.name, "ParameterGroupStatus": "updated"})


def modify_cluster_parameter_group(self):
    group = group_of(self)
    given = {one["ParameterName"]: one["ParameterValue"] for one in self._get_param("Parameters", [])}
    group.user.update(given)
    return apply(self, group, set(given))


def reset_cluster_parameter_group(self):
    group = group_of(self)
    names = {one["ParameterName"] for one in self._get_param("Parameters", [])}
    for name in names:
        group.user.pop(name, None)
    return apply(self, group, names)


def describe_cluster_parameters(self):
    group, source = group_of(self), self._get_param("Source")
    parameters = describe_parameters(self.redshift_backend, group.name)
    for one in parameters:
        if one["ParameterName"] in group.user:
            one.update(ParameterValue=group.user[one["ParameterName"]], Source="user")
        one["ApplyType"] = "dynamic" if one["ParameterName"] in DYNAMIC else "static"
    return ActionResult({"Parameters": [one for one in parameters if source in (None, one["Source"])]})


def modify_cluster_subnet_group(self):
    name = self._get_param("ClusterSubnetGroupName")
    group = self.redshift_backend.describe_cluster_subnet_groups(name)[0]
    group.subnet_ids = self._get_param("SubnetIds", [])
    group.description = self._get_param("Description") or group.description
    return ActionResult({"ClusterSubnetGroup": group})


Backend.create_cluster, Backend.modify_cluster = create_cluster, modify_cluster
for function in (describe_clusters, modify_cluster_iam_roles, resize_cluster, reboot_cluster,
                 modify_cluster_subnet_group, describe_cluster_parameters, modify_cluster_parameter_group,
                 reset_cluster_parameter_group):
    setattr(Response, function.__name__, function)

"""What moto lacks of CloudFormation, put into its own classes: a stand-in, written after AWS's documentation.

In moto a change set is carried out the moment it is asked for, with events of the stack alone, and nothing ever fails.
Here a template with {"Metadata": {"Slowly": {"fails": {LOGICAL ID: REASON}}}} takes its time: each DescribeStacks that
looks at the stack plays one act, with events of its resources; a resource that fails takes the others with it, and the
stack goes back; {"ends": STATUS} says how it ends then, where not as it was. Events carry the token of the request, and come three to a page.
"""
from moto.cloudformation import models, responses
from moto.cloudformation.exceptions import ValidationError
from moto.core.responses import ActionResult

PAGE = 3

Backend, Response, Event = models.CloudFormationBackend, responses.CloudFormationResponse, models.Event
execute, describe = Backend.execute_change_set, Response.describe_stacks


def tell(stack, token, logical_id, kind, status, reason=None):
    is_stack = kind == "AWS::CloudFormation::Stack"
    event = Event(stack.stack_id, stack.name, logical_id, stack.stack_id if is_stack else logical_id.lower(), kind,
                  status, reason, None)
    event.client_request_token = token
    stack.events.append(event)
    if is_stack:
        stack.status = status


def acts_of(stack, change_set, slowly, token, finish):
    """A list of functions, one for each look at the stack."""
    fails = slowly.get("fails")
    word = "CREATE" if change_set.change_set_type == "CREATE" else "UPDATE"
    changes = [(one.logical_resource_id, one.resource_type) for one in change_set.changes]

    def say(name, kind, status, reason=None):
        return lambda: tell(stack, token, name, kind, status, reason)

    def whole(status, reason=None):
        return say(stack.name, "AWS::CloudFormation::Stack", status, reason)

    whole(word + "_IN_PROGRESS", "User Initiated")()
    acts = [say(name, kind, "CREATE_IN_PROGRESS") for name, kind in changes]
    if not fails:
        done = [say(name, kind, "CREATE_COMPLETE") for name, kind in changes]
        return acts + done + [lambda: (finish(), whole(word + "_COMPLETE")())]
    acts += [say(name, kind, "CREATE_FAILED", fails[name]) for name, kind in changes if name in fails]
    acts += [say(name, kind, "CREATE_FAILED", "Resource creation cancelled") for name, kind in changes
             if name not in fails]
    back = "ROLLBACK" if word == "CREATE" else "UPDATE_ROLLBACK"
    failed = ", ".join(sorted(fails))
    return acts + [whole(back + "_IN_PROGRESS", f"The following resource(s) failed to create: [{failed}]."),
                   whole(slowly.get("ends") or back + "_COMPLETE")]


def execute_change_set(self):
    backend, name = self.cloudformation_backend, self._get_param("ChangeSetName")
    given = {"stack_name": self._get_param("StackName"), "change_set_name": name}
    found = [one for one in backend.change_sets.values() if name in (one.change_set_name, one.change_set_id)]
    slowly = found and (found[0].template_dict.get("Metadata") or {}).get("Slowly")
    if not slowly:
        execute(backend, **given)
    else:
        stack = backend.stacks[found[0].stack_id]

        def finish():
            events = list(stack.events)
            execute(backend, **given)
            stack.events[:] = events

        stack.acts = acts_of(stack, found[0], slowly, self._get_param("ClientRequestToken"), finish)
    return responses.EmptyResult()


def describe_stacks(self):
    for stack in self.cloudformation_backend.describe_stacks(self._get_param("StackName")):
        if getattr(stack, "acts", None):
            stack.acts.pop(0)()
    return describe(self)


def describe_stack_events(self):
    events = self.cloudformation_backend.describe_stack_events(self._get_param("StackName"))[::-1]
    first = int(self._get_param("NextToken") or 0)
    following = first + PAGE
    return ActionResult({"StackEvents": events[first:following],
                         "NextToken": str(following) if following < len(events) else None})


def limited(call):
    """AWS takes no template above 51,200 bytes within a request; moto takes any."""
    def checked(self):
        if len((self._get_param("TemplateBody") or "").encode()) > 51200:
            raise ValidationError(message="1 validation error detected: Value at 'templateBody' failed to satisfy "
                                          "constraint: Member must have length less than or equal to 51200")
        return call(self)
    return checked


for function in (execute_change_set, describe_stacks, describe_stack_events):
    setattr(Response, function.__name__, function)
for name in ("create_change_set", "get_template_summary", "create_stack", "update_stack"):
    setattr(Response, name, limited(getattr(Response, name)))

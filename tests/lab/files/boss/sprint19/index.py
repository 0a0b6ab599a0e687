RELEASE = "sprint19"


def handler(event, context):
    return RELEASE

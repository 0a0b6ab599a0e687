RELEASE = "sprint18"


def handler(event, context):
    return RELEASE

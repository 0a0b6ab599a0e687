"""What moto lacks of DynamoDB, put into its own class: indexes that take their time, after AWS's documentation.

In moto an index is there the moment it is asked for. Here one whose name begins with "slow" is CREATING for the first
four looks at its table.
"""
from moto.dynamodb.models import DynamoDBBackend

LOOKS = 4
describe = DynamoDBBackend.describe_table


def describe_table(self, name):
    answer, table = describe(self, name), self.get_table(name)
    for index in answer["Table"].get("GlobalSecondaryIndexes") or []:
        if index["IndexName"].startswith("slow"):
            table.looks = getattr(table, "looks", 0) + 1
            index["IndexStatus"] = "CREATING" if table.looks <= LOOKS else "ACTIVE"
    return answer


DynamoDBBackend.describe_table = describe_table

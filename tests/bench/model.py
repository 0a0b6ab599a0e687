"""The same by botocore: its loader and its model, without its import."""
import sys
import time

import botocore.loaders
import botocore.model

name, operation = sys.argv[1:]
begun = time.perf_counter()
model = botocore.model.ServiceModel(botocore.loaders.create_loader().load_service_model(name, "service-2"), name)
assert model.operation_model(operation).input_shape.members
print(f"seconds {time.perf_counter() - begun:.6f}")

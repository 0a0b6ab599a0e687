--- Answers of botocore (oracle.py), case by case.
local json    = require "native.json"
local process = require "native.process"

local oracle = {}

--- Operations that upgrades use: they are always among the cases.
oracle.USED = {
  "s3.PutObject", "s3.GetObject", "s3.HeadObject", "s3.CopyObject", "s3.DeleteObject", "s3.DeleteObjects",
  "s3.ListObjectsV2", "s3.ListObjectVersions", "s3.CreateBucket", "s3.PutBucketWebsite", "s3.PutBucketPolicy",
  "s3.PutBucketVersioning", "s3.PutBucketTagging", "s3.PutBucketLifecycleConfiguration", "s3.PutBucketCors",
  "s3.CreateMultipartUpload", "s3.UploadPart", "s3.CompleteMultipartUpload", "s3.AbortMultipartUpload",
  "s3.ListMultipartUploads", "s3.ListParts", "s3.ListBuckets", "s3.PutObjectAcl", "s3.RestoreObject",
  "s3.PutObjectTagging", "iam.CreateUser", "iam.CreateAccessKey", "iam.UpdateAccessKey", "iam.DeleteAccessKey",
  "iam.ListAccessKeys", "iam.CreatePolicy", "iam.CreatePolicyVersion", "iam.SetDefaultPolicyVersion", "iam.CreateRole",
  "iam.AttachRolePolicy", "iam.GetAccountAuthorizationDetails", "iam.PutGroupPolicy", "sts.AssumeRole",
  "sts.GetCallerIdentity", "sts.AssumeRoleWithWebIdentity", "route53.ChangeResourceRecordSets",
  "route53.ListResourceRecordSets", "route53.GetChange", "route53.CreateHostedZone", "cloudformation.CreateStack",
  "cloudformation.UpdateStack", "cloudformation.DescribeStacks", "cloudformation.DescribeStackEvents",
  "cloudformation.CreateChangeSet", "cloudformation.DescribeChangeSet", "cloudformation.DeleteStack", "sns.Subscribe",
  "sns.Unsubscribe", "sns.ListSubscriptionsByTopic", "sns.Publish", "ses.SendEmail", "sesv2.SendEmail",
  "ssm.GetParameter", "ssm.PutParameter", "ec2.DescribeInstances", "ec2.RunInstances", "ec2.CreateImage",
  "ec2.DescribeImages", "ec2.DeregisterImage", "ec2.CreateTags", "ec2.StopInstances", "ec2.StartInstances",
  "ec2.TerminateInstances", "ec2.CreateSecurityGroup", "ec2.AuthorizeSecurityGroupIngress", "ec2.CreateVpc",
  "ec2.CreateSubnet", "elb.RegisterInstancesWithLoadBalancer", "elb.DeregisterInstancesFromLoadBalancer",
  "elb.DescribeInstanceHealth", "elb.DescribeLoadBalancers", "elbv2.DescribeTargetHealth", "elbv2.RegisterTargets",
  "elbv2.CreateLoadBalancer", "autoscaling.DescribeAutoScalingGroups", "autoscaling.SetDesiredCapacity",
  "autoscaling.SuspendProcesses", "autoscaling.CreateLaunchConfiguration", "redshift.CreateCluster",
  "redshift.ModifyClusterIamRoles", "redshift.ModifyClusterParameterGroup", "redshift.DescribeClusters",
  "redshift.CreateClusterSnapshot", "redshift-data.ExecuteStatement", "redshift-data.DescribeStatement",
  "rds.CreateDBCluster", "rds.ModifyDBCluster", "rds.DescribeDBClusters", "rds.CreateDBClusterSnapshot",
  "rds.RestoreDBClusterFromSnapshot", "dynamodb.CreateTable", "dynamodb.UpdateTable", "dynamodb.DescribeTable",
  "dynamodb.PutItem", "dynamodb.Query", "dynamodb.Scan", "elasticache.CreateReplicationGroup",
  "elasticache.DescribeReplicationGroups", "events.PutRule", "events.DisableRule", "events.EnableRule",
  "events.DescribeRule", "cloudwatch.PutMetricAlarm", "cloudwatch.DescribeAlarms", "cloudwatch.DisableAlarmActions",
  "cloudfront.CreateDistribution", "cloudfront.GetDistributionConfig", "cloudfront.UpdateDistribution",
  "cloudfront.CreateInvalidation", "lambda.UpdateFunctionCode", "lambda.CreateFunction", "lambda.GetFunction",
  "ecr.CreateRepository", "ecr.DescribeImages", "secretsmanager.GetSecretValue", "secretsmanager.CreateSecret",
  "kms.Encrypt", "kms.Decrypt", "sqs.CreateQueue", "sqs.GetQueueAttributes", "logs.CreateLogGroup",
  "logs.FilterLogEvents", "eks.DescribeCluster", "eks.UpdateClusterVersion", "sso.GetRoleCredentials",
}

--- Whether Debian's botocore is there.
function oracle.is_there()
  return process.run({ "/usr/bin/python3", "-c", "import botocore.session" }, { reads = true }).status == 0
end

--- Where the chance that picks cases begins.
--- @return integer
function oracle.seed() return tonumber(os.getenv "NEAP_SEED" or 1) end

--- The cases of a kind, each as oracle.py prints it.
--- @param ... string|integer  arguments of oracle.py
--- @return table[]
function oracle.cases(...)
  local argv = { "/usr/bin/python3", "tests/targets/aws/oracle.py" }
  for _, argument in ipairs { ... } do argv[#argv + 1] = tostring(argument) end
  local result, list = process.run(argv, { reads = true, timeout = 300 }), {}
  if result.status ~= 0 then error(result.err, 2) end
  for line in result.out:gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
  return list
end

return oracle

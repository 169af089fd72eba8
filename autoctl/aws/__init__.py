"""AWS through boto3: gateways, rate limits, batching, classified errors."""

"""A gRPC client over xDS. For each number on its standard input, makes so many calls and prints who answered.

After a call that failed there are no more: the test ends with it.
"""

import collections
import json
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])
say = channel.unary_unary("/test.Echo/Say")
for line in sys.stdin:
    answers = collections.Counter()
    for _ in range(int(line)):
        try:
            answers[say(b"", timeout=10, wait_for_ready=True).decode()] += 1
        except grpc.RpcError as error:
            answers[f"{error.code()}: {error.details()}"] += 1
            break
    print(json.dumps(answers), flush=True)

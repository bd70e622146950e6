"""A gRPC server that answers every call with its name. Prints its port; ends with its standard input."""

import sys
from concurrent import futures

import grpc

name = sys.argv[1].encode()
say = grpc.unary_unary_rpc_method_handler(lambda request, context: name)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {"Say": say}),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)

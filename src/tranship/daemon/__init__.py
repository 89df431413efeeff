"""containerd's face: the gRPC services that `ctr` and other clients of containerd speak, over tranship's store and engine.

calls      one RPC: who calls, and how errors and requests travel
address    the unix socket: where it may be, and who may take it over
server     the services together, from start to stop
collector  when content is collected
events     what happened, for whoever subscribes
streams    the streams that transfers refer to
services   one module for each gRPC service
"""

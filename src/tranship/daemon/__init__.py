"""containerd's face: the gRPC services that `ctr` and other clients of containerd speak, over tranship's store and engine.

calls      one RPC: who calls, and how errors and requests travel
address    the unix socket: where it may be, and who may take it over
server     the services together, from start to stop
collector  when content is collected
events     what happened, for whoever subscribes
streams    the streams that transfers refer to
ends       what a client named in a transfer, as endpoints over the open store and those streams
asking     credentials, from whoever sits at the other end of a stream
telling    how a transfer goes, into a stream
logs       one line an event
metrics    figures for Prometheus
notify     what a service manager is told, and what it hands over
relay      a socket that it handed over
services   one module for each gRPC service
"""

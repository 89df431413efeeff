"""The sockets of the client side, and the credentials that go over them.

    with Client(credentials=Credentials(...), retry=Retry(), timeouts=Timeouts()) as client:
        response = client.send(host, host.repository("acme/app").get_manifest("1"))       # small: whole, in memory
        with client.open(host, host.repository("acme/app").get_blob(digest)) as answer:   # large: answer.readinto(view)
            ...
        client.run(host, upload.upload(repository, blob), payload)                        # a flow of several requests

Nothing here reads the environment: proxies and the places of configuration files come in as values. Importing this
package costs next to nothing; ssl is imported for the first connection over TLS.
"""

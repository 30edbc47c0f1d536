"""Where the code under examination is run: what it may reach, and how nothing of it is left behind.

Every process that `verify` starts begins in `room.py`. Between it and the code stand two small processes:

    verify -> keeper -> (unshare) -> warden -> the child

The *keeper* owns the room's folder. It ends everything and removes the folder as soon as `verify` lets go
of it, or is gone, killed or not. The *warden* is the first process of the new namespaces: it makes
everything read-only but the room, gives up its rights, starts the child and buries what the child leaves.
"""

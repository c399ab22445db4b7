"""The frame ring: one shared memory file a camera, written by capture, read by everyone else.

A reader leases a slot by an OFD read lock on byte [slot] of the file; the writer takes the write lock without waiting
and skips leased slots. The kernel frees the lock of a killed reader. The generation is compared once, under the lock:
taking the lock orders the reader's loads after the writer's stores on every architecture.

Never fork after attaching: a child would hold the locks of its parent.
"""

"""Virtio 1.2: the queue, the device, two transports, and the devices themselves."""

"""What surrounds the server: the README, the commands, the locked requirements, the image and its neighbours."""

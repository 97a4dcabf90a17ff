"""What a user chooses from what was recognised: groups of images, channels."""

"""What speaks, listens and tells speech from noise inside the helper process."""

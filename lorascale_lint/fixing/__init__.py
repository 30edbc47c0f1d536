"""From fixes to files: apply in memory, show as a diff, write without ever leaving half a file."""

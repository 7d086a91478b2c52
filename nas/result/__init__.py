"""What a finished job is: finalists, controls, verdict, package."""

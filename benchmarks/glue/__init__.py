"""What a team would glue together instead, in a virtual environment and a folder of its own."""

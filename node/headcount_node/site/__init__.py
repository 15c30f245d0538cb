"""The pages that a node serves: plain HTML that can be read without script, and what makes it more."""

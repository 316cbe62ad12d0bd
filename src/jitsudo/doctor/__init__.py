"""`jitsudo doctor`: everything that can be wrong on a host, each with a cure; it looks, and changes nothing."""

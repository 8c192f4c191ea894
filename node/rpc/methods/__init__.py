"""What can be asked, one module per name space; each has `methods(...) -> {name: function}`."""

"""An L1 in the process: py-evm at Prague behind the same surface as any execution client."""

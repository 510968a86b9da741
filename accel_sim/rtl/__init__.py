"""The hardware itself: SystemVerilog of the units and the lanes machine, its build, and its run beside the engines."""

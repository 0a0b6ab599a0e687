--- The command line: from arguments to a verb, from errors to an exit status.

--- @param argv string[]  argv[0] is the program
--- @return integer status  the exit status
return function(argv)
  return require("neap.cli." .. (argv[1] or "test")).main { table.unpack(argv, 2) }
end

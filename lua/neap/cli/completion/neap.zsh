#compdef neap
# zsh completion of neap: neap itself says what could stand there.
_neap() {
	local line name text
	local -a names lines open
	for line in "${(@f)$(${words[1]} complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		[[ -n $line ]] || continue
		if [[ $line == :file ]]; then
			_files
			return
		fi
		name=${line%%$'\t'*}
		text=${line#*$'\t'}
		[[ $line == *$'\t'* ]] || text=
		if [[ $name == *= ]]; then open+=("$name"); else
			names+=("$name")
			lines+=("$name${text:+  -- $text}")
		fi
	done
	(( ! ${#names} )) || compadd -l -d lines -a names
	(( ! ${#open} )) || compadd -S '' -a open
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _neap "$@"; else compdef _neap neap; fi

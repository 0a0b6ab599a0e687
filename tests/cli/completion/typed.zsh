# Types into a zsh with neap's completion, and prints what shows up: typed.zsh FOLDER-OF-NEAP
zmodload zsh/zpty
expect() {
	local all piece
	repeat 200; do
		if zpty -r -t z piece; then all+=$piece; else sleep 0.05; fi
		[[ $all != *$1* ]] || { print -r -- $1; return; }
	done
	print -r -- "no $1: $all"
}
zpty z zsh -f
zpty -w z "PATH=$1:\$PATH; autoload -Uz compinit; compinit -u -D; eval \"\$(neap completion zsh)\"; echo re\"\"ady"
expect ready
zpty -w -n z $'neap plan sh\t'
expect shop/release
zpty -w -n z $'--env la\t'
expect lab
zpty -w -n z $'-p colour=\t'
expect colour=blue

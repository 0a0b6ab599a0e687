/* A run of neap: lease, intent and end, calls that land late, settling, resume, rollback, a fan-out of two branches.
 * Three processes may take the run up: two on one machine, who share its lock, and one on another, who does not. Each
 * may be stopped for any time (it just does not take its next step) or killed anywhere; a call is a message that lands
 * at any later time, also after its sender died. FAULTS deaths, broken connections, killed commands and lost calls
 * altogether.
 *
 * Branch 0 changes by a kind with a witness (a command: targets/witness.lua), branch 1 by one without, which can only
 * be compared once its call cannot land any more. Checked: an effect is made at most once and undone at most once,
 * never beside another call that still runs; nothing lands after `close`; what `close` says is true; one writer at a
 * time; each run can reach `close`. tests/model/check.sh says which rules may be dropped by -D and what then fails:
 *   NO_LOCK      lease.lock is not asked for              LOCK_FILE   a lock that a death leaves behind
 *   NO_ASK       an owner on another host is not asked about
 *   STALE_ANSWER a take-over does not see that somebody else took over since the person answered
 *   NO_TOKEN     the token is checked with `intent` only
 *   NO_WITNESS   the settler looks at the target          NO_CLOSING  it looks at the witness and does not take it
 *   HASTY        a call without a witness is not waited out from its owner's end on
 *   NO_SETTLING  a rollback goes by what it sees of an intent without end
 *   BESIDE       what still runs counts as not applied
 *   ABANDON      a run may be given up with things in doubt;  NO_RELEASE  its folder of witnesses then stays
 *   WITNESSED    both branches have witnesses             SEVERAL     several writers are no error by themselves */

#ifndef FAULTS
#define FAULTS 2
#endif
#ifdef SEVERAL
#define MOST (FAULTS + 1) /* a take-over under a living owner adds what a fault does */
#else
#define MOST FAULTS
#endif
#ifndef TAKES
#define TAKES (FAULTS + 1) /* how often the lease is taken; without a fault nobody takes over while a lock holds */
#endif
#define CALLS (2 + 2 * MOST) /* intents of a branch: forward and undo, and what each fault may add */

#ifdef WITNESSED
#define PLAIN(b) false
#else
#define PLAIN(b) (b == 1)
#endif

/* ---- the journal: what a fold over its records says (engine/fold.lua) ---- */
#define ABSENT 0 /* effect: new, void, failed or undone */
#define STANDS 1 /* `end done` */
#define HALF 2   /* `end partial` */
#define SAME 3   /* `end same`: it was so already, and is not undone */
byte place[2];   /* per branch */
byte doubt[2];   /* `intent` without `end`: 0 none, 1 of the effect, 2 of its undo */
byte intents[2]; /* how many there are */
bool back;       /* `turn back` */
#define DONE 1
#define ROLLED_BACK 2
#define ABANDONED 3
byte closed;     /* `close`: its outcome */
byte token;      /* the lease's row (engine/store.lua) */
byte owner, owner_host; /* the last `own` (engine/lease.lua) */

/* ---- the machines ---- */
bool locked[2];  /* ENV/lock of each machine; ends with its process */
bool alive[3];   /* a process between its take of the lease and its leave */
byte faults = FAULTS;

/* ---- the targets: calls by branch and intent ---- */
#define NOT_SENT 0 /* or over and of no interest any more */
#define ON_WIRE 1
#define RUNS 2     /* witness taken by the call */
#define LANDED 3
#define KILLED 4   /* ended without a status */
#define REFUSED 5  /* it found its witness taken, or its folder gone */
#define LOST 6
byte call[2 * CALLS];
bool undoing[2 * CALLS]; /* the intent has `undoes` */
bool shut[2 * CALLS];    /* witness taken by the settler: `job -> closed` */
bool gone[2 * CALLS];    /* folder of witnesses removed at the close */
byte applied[2];         /* how often the effect stands at its target */
bool busy[2];

/* The call begins at its target: job() in targets/witness/script.lua takes the name as its last act before the
 * command. Else it is refused, or lost; and once begun it ends, whole or killed. */
#define BEGIN(b, c) \
	:: atomic { call[c] == ON_WIRE && !(!PLAIN(b) && (shut[c] || gone[c])) -> \
		assert(closed == 0 || (closed == ABANDONED && PLAIN(b))); /* nothing lands after close */ \
		assert(!busy[b]);                                         /* never beside a call that runs */ \
		if \
		:: undoing[c] -> assert(applied[b] == 1)                  /* undone at most once */ \
		:: else -> assert(applied[b] == 0); applied[b]++          /* made at most once */ \
		fi; \
		if \
		:: PLAIN(b) -> applied[b] = applied[b] - undoing[c]; call[c] = LANDED \
		:: else -> busy[b] = true; call[c] = RUNS \
		fi \
	} \
	:: atomic { call[c] == ON_WIRE && !PLAIN(b) && (shut[c] || gone[c]) -> \
		call[c] = (doubt[b] && c == b * CALLS + intents[b] - 1 -> REFUSED : NOT_SENT) } \
	:: atomic { call[c] == ON_WIRE && faults > 0 -> faults--; call[c] = LOST } \
	:: atomic { call[c] == RUNS -> busy[b] = false; applied[b] = applied[b] - undoing[c]; call[c] = LANDED } \
	:: atomic { call[c] == RUNS && faults > 0 -> faults--; busy[b] = false; call[c] = KILLED }

#define TARGET(b) \
end:	do \
	BEGIN(b, b * CALLS) BEGIN(b, b * CALLS + 1) BEGIN(b, b * CALLS + 2) BEGIN(b, b * CALLS + 3) MORE(b) \
	od

#if MOST == 1
#define MORE(b)
#elif MOST == 2
#define MORE(b) BEGIN(b, b * CALLS + 4) BEGIN(b, b * CALLS + 5)
#else
#define MORE(b) BEGIN(b, b * CALLS + 4) BEGIN(b, b * CALLS + 5) BEGIN(b, b * CALLS + 6) BEGIN(b, b * CALLS + 7)
#endif

active proctype target_0() { TARGET(0) }
active proctype target_1() { TARGET(1) }

/* ---- a process that owns the run ---- */

/* where a branch stands in its process */
#define LOOK 0 /* next by the fold: effect.change, rollback's walk_back, recover's mend_partial */
#define SEND 1 /* its intent is durable: call.carry_out */
#define WAIT 2 /* for the reply */
#define TAKE 3 /* settle.verdict, of this life or an earlier one */
#define END 4  /* call.finish, recover's write_end */
#define OVER 5

/* verdicts */
#define V_DONE 1
#define V_VOID 2 /* and `failed` */
#define V_PARTIAL 3

/* store:write: a record goes in while the token is the lease's, else the process is fenced and stops. */
#define FENCED (token != mine)
#ifdef NO_TOKEN
#define FENCED_LATER false
#else
#define FENCED_LATER FENCED
#endif

#ifdef NO_WITNESS
#define BY_LOOKING(b) true
#else
#define BY_LOOKING(b) PLAIN(b)
#endif

/* settle.lua: wait_out_call, then compare. Its owner is dead, or it is our own and has been given up. The engine counts
 * the call's timeout from its intent: that waits it out where the target itself ends a call within that time, and no
 * process stands still between intent and call. */
#if defined(HASTY) || defined(NO_WITNESS)
#define WAITED_OUT(c) true
#else
#define WAITED_OUT(c) (call[c] != ON_WIRE)
#endif

#ifdef BESIDE
#define MUST_WAIT(c) false
#else
#define MUST_WAIT(c) (call[c] == RUNS)
#endif

#define INTENT(b, is_undo) \
	if \
	:: FENCED -> goto leave \
	:: else -> \
		assert(intents[b] < CALLS); \
		at_call[b] = b * CALLS + intents[b]; intents[b]++; \
		undoing[at_call[b]] = is_undo; doubt[b] = 1 + is_undo; at[b] = SEND \
	fi

#define FORWARD(b) (working && !back && at[b] == LOOK)
#define BACK(b) (working && back && at[b] == LOOK)
#define STANDS_BACK(b) (BACK(b) && (place[b] == STANDS || place[b] == HALF))
#define CAME_TO_NOTHING(c) (c == REFUSED || c == LOST || c == NOT_SENT)

#define BRANCH(b) \
	/* forward: what stands is not made again; half of it is undone first (recover.lua, mend_partial) */ \
	:: atomic { FORWARD(b) && (place[b] == STANDS || place[b] == SAME) -> at[b] = OVER } \
	:: atomic { FORWARD(b) && place[b] == HALF -> INTENT(b, 1) } \
	:: atomic { FORWARD(b) && place[b] == ABSENT && !(PLAIN(b) && applied[b] > 0) -> INTENT(b, 0) } \
	:: atomic { FORWARD(b) && place[b] == ABSENT && PLAIN(b) && applied[b] > 0 -> \
		if :: FENCED_LATER -> goto leave :: else -> place[b] = SAME; at[b] = OVER fi } \
	/* back (undo.lua): a state is looked at first, and may be found as it was before */ \
	:: atomic { BACK(b) && (place[b] == ABSENT || place[b] == SAME) -> at[b] = OVER } \
	:: atomic { STANDS_BACK(b) && PLAIN(b) && applied[b] == 0 -> \
		if :: FENCED_LATER -> goto leave :: else -> place[b] = ABSENT; at[b] = OVER fi } \
	:: atomic { STANDS_BACK(b) && !(PLAIN(b) && applied[b] == 0) -> INTENT(b, 1) } \
	/* the call: sent without another look at the token; or it cannot be sent, a definite error */ \
	:: atomic { at[b] == SEND -> call[at_call[b]] = ON_WIRE; at[b] = WAIT } \
	:: atomic { at[b] == SEND && faults > 0 -> faults--; said[b] = V_VOID; at[b] = END } \
	:: atomic { at[b] == WAIT && call[at_call[b]] == LANDED -> said[b] = V_DONE; at[b] = END } \
	:: atomic { at[b] == WAIT && call[at_call[b]] == KILLED -> said[b] = V_PARTIAL; at[b] = END } \
	:: atomic { at[b] == WAIT && CAME_TO_NOTHING(call[at_call[b]]) -> at[b] = TAKE } \
	/* no reply, cancelled, timeout: settle_at_once */ \
	:: atomic { at[b] == WAIT && faults > 0 -> faults--; at[b] = TAKE } \
	/* take() of targets/witness/script.lua: whoever makes the name has it; running: look again */ \
	:: atomic { at[b] == TAKE && !BY_LOOKING(b) && !MUST_WAIT(at_call[b]) -> \
		if \
		:: call[at_call[b]] == LANDED -> said[b] = V_DONE \
		:: call[at_call[b]] == KILLED -> said[b] = V_PARTIAL \
		:: else -> said[b] = V_VOID; CLOSE_WITNESS(at_call[b]) \
		fi; \
		at[b] = END } \
	:: atomic { at[b] == TAKE && BY_LOOKING(b) && WAITED_OUT(at_call[b]) && !MUST_WAIT(at_call[b]) -> \
		said[b] = ((applied[b] > 0) != undoing[at_call[b]] -> V_DONE : V_VOID); at[b] = END } \
	:: atomic { at[b] == END -> \
		if \
		:: FENCED_LATER -> goto leave \
		:: else -> \
			if \
			:: said[b] == V_DONE -> place[b] = (undoing[at_call[b]] -> ABSENT : STANDS) \
			:: said[b] == V_PARTIAL && !undoing[at_call[b]] -> place[b] = HALF \
			:: else -> skip \
			fi; \
			doubt[b] = 0; said[b] = 0; at[b] = LOOK; \
			if \
			:: call[at_call[b]] == ON_WIRE || call[at_call[b]] == RUNS -> skip \
			:: else -> call[at_call[b]] = NOT_SENT \
			fi \
		fi }

#ifdef NO_CLOSING
#define CLOSE_WITNESS(c) skip
#else
#define CLOSE_WITNESS(c) shut[c] = true
#endif

/* An intent without end at the begin of a life; the last of its branch. */
#define IN_DOUBT(b) \
	if \
	:: doubt[b] -> at_call[b] = b * CALLS + intents[b] - 1; at[b] = TAKE \
	:: else -> at_call[b] = 0; at[b] = LOOK \
	fi; \
	said[b] = 0

#define SETTLED (at[0] == LOOK && at[1] == LOOK)
#define RESTS(b) (at[b] == LOOK || at[b] == OVER)

#if defined(NO_LOCK)
#define LOCK_FREE true
#else
#define LOCK_FREE (!locked[host])
#endif

proctype worker(byte me; byte host) {
	byte mine, seen;
	byte at[2], said[2], at_call[2];
	bool working;

	/* session.reopen: lease.lock, then the records are read (journal.take verifies them), then the person is asked. */
begin:
	if
	:: closed -> goto over
	:: atomic { !closed && LOCK_FREE && token < TAKES -> locked[host] = true; seen = token }
	fi;
#ifndef NO_ASK
	/* The lock of this machine says nothing of an owner on another. The person looks, and says so once it is dead. */
	if
	:: closed || seen != token -> skip
	:: !closed && seen == token && (token == 0 || owner_host == host || !alive[owner]) -> skip
	fi;
#endif
	/* store:take: token and `own` in one transaction; `own` has the number after the last record that was read, so that
	 * it does not go in where somebody else wrote since. */
	atomic {
		if
#ifdef STALE_ANSWER
		:: closed -> locked[host] = false; seen = 0; goto begin
#else
		:: closed || seen != token -> locked[host] = false; seen = 0; goto begin
#endif
		:: else ->
#ifndef SEVERAL
			assert(!alive[0] && !alive[1] && !alive[2]); /* one writer */
#endif
			token++; mine = token; seen = 0; owner = me; owner_host = host; alive[me] = true;
			IN_DOUBT(0); IN_DOUBT(1)
		fi
	}

	do
	BRANCH(0)
	BRANCH(1)
	/* recover.settle_all is through: forward, or back where the journal or a person says so */
	:: atomic { !working && SETTLED -> working = true }
#ifdef NO_SETTLING
	:: atomic { !working && !back && !FENCED && !SETTLED -> back = true; working = true;
		if :: doubt[0] -> place[0] = (applied[0] > 0 -> STANDS : ABSENT); doubt[0] = 0 :: else -> skip fi;
		if :: doubt[1] -> place[1] = (applied[1] > 0 -> STANDS : ABSENT); doubt[1] = 0 :: else -> skip fi;
		at[0] = LOOK; at[1] = LOOK }
#endif
	/* rollback.back, by a failure or a person; what is in flight has ended (group.each) */
	:: atomic { working && !back && RESTS(0) && RESTS(1) ->
		if :: FENCED_LATER -> goto leave :: else -> back = true; at[0] = LOOK; at[1] = LOOK fi }
	/* session:close */
	:: atomic { working && at[0] == OVER && at[1] == OVER ->
		if
		:: FENCED_LATER -> goto leave
		:: else ->
			assert(!busy[0] && !busy[1]);
			assert(applied[0] == !back && applied[1] == !back); /* what close says is true: none stray */
			closed = (back -> ROLLED_BACK : DONE);
			goto leave
		fi }
#ifdef ABANDON
	/* run.abandon: nothing is settled, but call.release removes the folder of witnesses, then close is written */
	:: atomic { !working && !FENCED ->
#ifndef NO_RELEASE
		for (seen : 0 .. CALLS - 1) { gone[seen] = seen < intents[0]; gone[CALLS + seen] = seen < intents[1] }
		seen = 0
#endif
	}
	if
	:: atomic { !FENCED -> closed = ABANDONED; goto leave }
	:: atomic { FENCED -> goto leave }
	:: atomic { faults > 0 -> faults--; goto leave }
	fi
#endif
	:: atomic { faults > 0 -> faults--; goto leave } /* killed, or it pauses */
	od;

leave:
	atomic {
		alive[me] = false;
#ifndef LOCK_FILE
		locked[host] = false;
#endif
		working = false; mine = 0;
		at[0] = 0; at[1] = 0; said[0] = 0; said[1] = 0; at_call[0] = 0; at_call[1] = 0;
		goto begin
	}
over:
	skip
}

init { atomic { run worker(0, 0); run worker(1, 0); run worker(2, 1) } }

#ifdef LIVENESS
ltl closes { <> (closed != 0) }
#endif

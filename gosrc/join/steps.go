package join

// The steps of a join, as bdr.local_join.step names them. A step may be
// interrupted anywhere; it is repeated from its beginning.
const (
	StepRegister   = "register"
	StepConsensus  = "consensus"
	StepWaitTurn   = "wait_turn"
	StepSlots      = "create_slots"
	StepCopySchema = "copy_schema"    // nothing has been restored here yet
	StepRestore    = "restore_schema" // from here on, a repeated copy cleans first
	StepCopyData   = "copy_data"
	StepIndexes    = "restore_indexes"
	StepSequences  = "copy_sequences"
	StepCatchup    = "catchup"
	StepPromote    = "promote"
	StepDone       = "done"
)

// StepText says to a user what begins.
var StepText = map[string]string{
	StepRegister:   "registering with the group",
	StepConsensus:  "waiting for the group's consensus log",
	StepWaitTurn:   "waiting for the turn to join",
	StepSlots:      "creating replication slots on the other nodes",
	StepCopySchema: "reading the schema of the source",
	StepRestore:    "restoring the schema",
	StepCopyData:   "copying data",
	StepIndexes:    "building indexes and constraints",
	StepSequences:  "copying the positions of sequences",
	StepCatchup:    "catching up with what was written during the copy",
	StepPromote:    "connecting to every node",
	StepDone:       "the node is active",
}

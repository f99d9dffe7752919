package job

import _ "embed"

//go:embed template.yaml
var template []byte

// Template is a commented job file with every field that people change; it is valid as it stands, once the places in it exist.
func Template() []byte { return append([]byte(nil), template...) }

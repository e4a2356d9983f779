package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas reads all schemas once.
var schemas = sync.OnceValues(func() (*jsonschema.Compiler, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := filepath.Glob(filepath.Join(schemaFiles, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if err := c.AddResource(doc.(map[string]any)["$id"].(string), doc); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return c, nil
})

var compiling sync.Mutex // guards the compiler

// checkObject holds one JSON object against a schema.
func checkObject(b []byte, schema string) error {
	c, err := schemas()
	if err != nil {
		return err
	}
	compiling.Lock()
	s, err := c.Compile("https://github.com/sonde-net/sonde/docs/schema/" + schema)
	compiling.Unlock()
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b)) // fails on anything behind the value
	if err != nil {
		return fmt.Errorf("%w in %q", err, b)
	}
	return s.Validate(v)
}

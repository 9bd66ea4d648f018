// Package pipelines holds tests of pipelines/: callers of the factory in CI systems, which nobody runs before they are needed.
package pipelines

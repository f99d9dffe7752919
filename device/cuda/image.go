//go:build cuda

package cuda

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"path"

	"gorgonia.org/cu"
)

// scripts/cuda-kernels.sh compiles them: machine code for sm_80 and sm_90, and PTX for what comes later. They are hashed into the class: whoever changes a
// kernel, or compiles it with another nvcc, cannot forget that its bits may change.
//
//go:embed kernels/built/*.fatbin
var images embed.FS

const imageFolder = "kernels/built"

func classOf(arch string) string {
	h := sha256.New()
	_ = eachImage(func(name, image string) error {
		fmt.Fprintf(h, "%s %d\n%s", name, len(image), image)
		return nil
	})
	return fmt.Sprintf("cuda/%s/%x", arch, h.Sum(nil)[:4])
}

func eachImage(f func(name, image string) error) error {
	entries, err := images.ReadDir(imageFolder) // sorted by name
	if err != nil {
		return err
	}
	for _, e := range entries {
		image, err := images.ReadFile(path.Join(imageFolder, e.Name()))
		if err != nil {
			return err
		}
		if err := f(e.Name(), string(image)); err != nil {
			return err
		}
	}
	return nil
}

// kernelNames are the kernels of each image.
var kernelNames = map[string][]string{
	"attention.fatbin": {"attention_lse", "attention", "attention_mean", "attention_backward_q", "attention_backward_kv"},
	"gather.fatbin":    {"gather", "scatter_add"},
	"gemm.fatbin":      {"gemm", "to_bfloat16"},
	"linear.fatbin":    {"add_bias", "gelu", "add_residual", "scale_by", "add", "dropout", "clear", "column_sums"},
	"loss.fatbin":      {"loss_partition", "loss_band", "loss_users", "loss_items", "loss_positives", "loss_spread", "loss_sum"},
	"norm.fatbin":      {"layer_norm", "layer_norm_backward", "layer_norm_weights", "l2_norm", "l2_norm_backward"},
	"time.fatbin":      {"encode_time", "encode_time_backward"},
	"update.fatbin": {"to_fixed", "from_fixed", "raise_exponents", "to_blocks16", "to_blocks32", "from_blocks16", "from_blocks32",
		"squared_norm", "add_pairs", "adamw", "hash"},
}

// load loads all kernels; the context is current.
func (d *gpu) load() error {
	return eachImage(func(name, image string) error {
		m, err := cu.LoadFatBinary(image)
		if err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
		d.modules = append(d.modules, m)
		for _, kernel := range kernelNames[name] {
			if d.kernels[kernel], err = m.Function(kernel); err != nil {
				return fmt.Errorf("find kernel %s in %s: %w", kernel, name, err)
			}
		}
		return nil
	})
}

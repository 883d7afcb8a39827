"""Runs whose views change on the way: exact resume in every phase, what is compiled and said, what is refused."""
import jax
import pytest

from pretrain import config, train
from pretrain.config import ConfigError
from pretrain.files import read_rows
from pretrain.train import DONE, STOPPED, prepare
from tests.test_train import StopAfter, assert_same, final, losses, tiny

pytestmark = pytest.mark.suite('system')

PHASES = "phases=((2, {'size': 4}), (4, {'size': 12, 'blur': 0.0}))"
SHORT = (PHASES, 'steps=6', 'checkpoint.every_steps=100', 'schedule.warmup_steps=1')


def test_a_run_in_phases_resumes_bit_for_bit_and_compiles_once_a_phase(tmp_path, monkeypatch, capsys):
  tree = tiny(*SHORT)
  assert train.train(tree, tmp_path / 'whole', quiet=True) == DONE
  said = capsys.readouterr().out
  assert "steps 2 to 4: compiled for the views with {'size': 12, 'blur': 0.0}" in said and 'of the config' in said
  compiled = [row for row in read_rows(tmp_path / 'whole/events.jsonl') if row['event'] == 'compile']
  assert [(row['step'], row['until']) for row in compiled] == [(0, 2), (2, 4), (4, 6)]
  for stop in (2, 3):  # where a phase ends, within the last one
    with monkeypatch.context() as patch:
      StopAfter(patch, stop)
      assert train.train(tree, tmp_path / 'parts', quiet=True) == STOPPED
  assert train.train(tree, tmp_path / 'parts', quiet=True) == DONE
  assert losses(tmp_path / 'parts') == losses(tmp_path / 'whole')
  assert_same(final(tmp_path / 'parts', tree)[0], final(tmp_path / 'whole', tree)[0])


def test_a_phase_is_the_step_with_its_views_and_small_views_cost_less():
  run = config.call(prepare, tiny(*SHORT), 'config')
  other = config.call(prepare, tiny('views.size=4', *SHORT[1:]), 'config')
  assert [phase.until for phase in run.phases] == [2, 4, 6]
  small, large, native = (phase.flops().total for phase in run.phases)
  assert small == other.phases[0].flops().total < native < large
  assert run.training is run.phases[-1].training
  same = jax.tree.map(lambda a, b: a.shape == b.shape, run.phases[0].training.abstract, run.training.abstract)
  assert all(jax.tree.leaves(same))


def test_mae_takes_images_of_several_sizes():
  mae = ("views={'name': 'mae', 'size': 16, 'scale': (0.4, 1.0)}", "phases=((3, {'bandwidth': 8}),)",
         'backbone.image=16', "objective={'name': 'mae', 'mask_ratio': 0.5, 'decoder_width': 16, 'decoder_depth': 1, "
         "'decoder_heads': 2, 'standardize': True}")
  small, native = (phase.flops().total for phase in config.call(prepare, tiny(*mae), 'config').phases)
  assert small < 0.5 * native


def test_dinov2_ends_with_large_crops():
  dinov2 = ("views={'name': 'dino', 'size': 12, 'local_size': 8, 'local_crops': 2, 'global_scale': (0.4, 1.), "
            "'local_scale': (0.1, 0.4)}", "phases=((8, {'size': 8, 'local_size': 4}),)",
            "objective={'name': 'dinov2', 'prototypes': 64, 'patch_prototypes': 64, 'hidden': 32, 'bottleneck': 16, "
            "'patch_bottleneck': 16, 'mask_ratio': (0.3, 0.6), 'koleo_weight': 0.1, 'student_temperature': 0.1, "
            "'teacher_temperature': 0.07, 'teacher_temperature_start': 0.04, 'teacher_warmup_steps': 3, "
            "'momentum': 0.9, 'freeze_prototypes_steps': 0}")
  small, large = (phase.flops().total for phase in config.call(prepare, tiny(*dinov2), 'config').phases)
  assert large > 1.5 * small


@pytest.mark.parametrize(('phases', 'words'), [
    ('((4,),)', r'wanted \(\(until_step, dict'),
    ('((4, 8),)', r'wanted \(\(until_step, dict'),
    ("(('4', {'size': 4}),)", r'wanted \(\(until_step, dict'),
    ("((0, {'size': 4}),)", 'ascend between 0 and the last one, 12, got 0'),
    ("((12, {'size': 4}),)", 'ascend between 0 and the last one, 12, got 12'),
    ("((6, {'size': 4}), (6, {'size': 8}))", 'got 6 after 6'),
    ("((6, {'size': 8}),)", 'wanted changes'),
    ("((6, {'name': 'mae'}),)", 'other than its name'),
    ("((6, {'sise': 4}),)", "steps before 6.*config.views.sise.*nearest: 'size'"),
    ("((6, {'size': 10}),)", 'steps before 6.*10.*4'),  # patches of 4
    ("((6, {'size': -4}),)", 'steps before 6'),
])
def test_phases_that_do_not_fit_are_refused_before_anything_is_compiled(phases, words, compilations):
  config.call(prepare, tiny(), 'config')  # makes a key, whichever test is the first
  before = compilations()
  with pytest.raises(ConfigError, match=words):
    config.call(prepare, tiny(f'phases={phases}'), 'config')
  assert compilations() == before


def test_phases_want_views():
  with pytest.raises(ConfigError, match='wanted config.views'):
    config.call(prepare, tiny('views=None', "phases=((6, {'size': 4}),)", "objective={'name': 'supervised', "
                              "'classes': 10}"), 'config')

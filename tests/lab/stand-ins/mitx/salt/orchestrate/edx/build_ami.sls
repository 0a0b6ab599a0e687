{# Stands in for MITx's state of this name: two base instances, their highstate, an image of each. #}
{% set environment = salt.environ.get('ENVIRONMENT') %}
{% set base = 'edx*-' ~ environment ~ '-*base' %}
create_edx_baseline_instances_in_{{ environment }}:
  salt.runner:
    - name: edx.base_instances
    - environment: {{ environment }}
    - purpose: {{ salt.environ.get('PURPOSE') }}

build_edx_base_nodes:
  salt.state:
    - tgt: '{{ base }}'
    - highstate: True
{% if salt.environ.get('RUN_MIGRATIONS') %}
    - pillar:
        edx:
          ansible_flags: '-e migrate_db=yes'
{% endif %}
    - require:
      - salt: create_edx_baseline_instances_in_{{ environment }}

snapshot_edx_nodes:
  salt.runner:
    - name: state.orchestrate
    - mods: orchestrate.edx.snapshots
    - require:
      - salt: build_edx_base_nodes

// A dashboard as Grafana publishes its parts: every panel with the options of its own plugin, every
// query one of Prometheus. README.md says how dashboard.json is made of it.

import type { DataTransformerID, FieldConfigProperty } from '@grafana/data';
import type * as dashboard from '@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as stateTimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
// The last version of @grafana/schema that has it.
import type { PrometheusDataQuery } from 'grafana-schema-10/dist/esm/raw/composable/prometheus/dataquery/x/PrometheusDataQuery_types.gen';

type Override = {
  matcher: dashboard.MatcherConfig;
  properties: Array<{ id: FieldConfigProperty | `custom.${string}`; value?: unknown }>;
};

type Panel<Type extends string, Options, Custom> = Omit<
  dashboard.Panel,
  'type' | 'options' | 'fieldConfig' | 'targets' | 'transformations'
> & {
  type: Type;
  options: Options;
  fieldConfig: {
    defaults: Omit<dashboard.FieldConfig, 'custom'> & { custom?: Partial<Custom> };
    overrides: Override[];
  };
  targets: PrometheusDataQuery[];
  transformations?: Array<Omit<dashboard.DataTransformerConfig, 'id'> & { id: DataTransformerID }>;
};

// What packages/grafana-prometheus/src/annotations.ts reads.
type Annotation = Omit<dashboard.AnnotationQuery, 'target'> & {
  target: PrometheusDataQuery;
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
};

export type Dashboard = Omit<dashboard.Dashboard, 'panels' | 'annotations'> & {
  panels: Array<
    | dashboard.RowPanel
    | Panel<'heatmap', heatmap.Options, heatmap.FieldConfig>
    | Panel<'stat', stat.Options, {}>
    | Panel<'state-timeline', stateTimeline.Options, stateTimeline.FieldConfig>
    | Panel<'table', table.Options, table.FieldConfig>
    | Panel<'timeseries', timeSeries.Options, timeSeries.FieldConfig>
  >;
  annotations: { list: Annotation[] };
};
